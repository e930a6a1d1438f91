"""What to say in tones over an answer in tones.

Letters share their notes, and any of them sound like an echo of the others about one time in four. The digits from 1
to 7 have a low note that no letter has.
"""

INTERJECTION = "12 345 67"
