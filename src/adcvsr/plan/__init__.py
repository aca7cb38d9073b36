"""Predicting speed: roofline, cost of video, measurements that correct both."""
