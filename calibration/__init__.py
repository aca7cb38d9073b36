"""Measuring bundles on real pictures: evaluation against ground truth.

adcvsr evaluate nano --images FOLDER --clips FOLDER
"""
