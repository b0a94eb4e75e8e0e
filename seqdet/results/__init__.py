"""From raw detections to tracks, pictures, rows and figures."""
