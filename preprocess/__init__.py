"""The MPI program that turns a corpus of MIDI files and scores into one store of piano rolls."""
