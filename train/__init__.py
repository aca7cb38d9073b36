"""Training: data and degradation, losses, stages. Imports shared code only.

adcvsr train pretrain --config nano --clips FOLDER --images FOLDER -o runs/nano
"""
