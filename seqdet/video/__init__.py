"""Video in and out: the only place that touches OpenCV capture and PyAV."""
