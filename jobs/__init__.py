"""What is submitted: sweeps of training runs, samples, their MIDI, and one folder with all of it."""
