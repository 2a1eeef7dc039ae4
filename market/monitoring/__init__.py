"""What is watched: the list of metrics and the dashboards, both made from code."""
