"""How long the doctor waits, in seconds."""

CONNECT = 5.0
ANSWER = 10.0  # between two bytes of an answer
CHECK = 20.0  # for one finding
READ = 60.0  # for the read whose speed is measured
