"""Measuring bundles on real pictures: evaluation against known truth.

adcvsr evaluate FOLDER --model nano
"""
