"""The upper layer of an accepted association: sleeps on the socket, and streams C-STORE data as it arrives.

pynetdicom 3.0.4 polls with sleeps of 1 ms in two threads an association, and gathers each data set in memory before a
handler sees it. Here the network thread waits on the socket, and in the data transfer state (PS3.8 9.2, Sta6) takes
the P-DATA-TF PDUs of a C-STORE apart itself: fragments go straight to a `StoreSink`, the response straight back.
Every other message takes pynetdicom's own way. The pin in pyproject.toml holds the private names used here.
"""
