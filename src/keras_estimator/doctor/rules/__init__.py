"""The rules of the doctor, one file each; the name of the file is its code and its name."""
