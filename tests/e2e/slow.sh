# shellcheck shell=bash
# Slow clients (cases in slow.py).
python_cases slow.py
