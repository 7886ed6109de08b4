"""As much of RPi.GPIO as opening an MFRC522 takes."""
