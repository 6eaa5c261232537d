"""``mrouter capture``: signalling, live or from a file, one readable line a message.

That is Mobility Headers, and ICMPv6 messages of home agent and prefix discovery (types 144 to 147).

What a message means is said by ``mrouter.wire``, as the daemons read it; scapy reads and writes
the files, and names options that the daemons do not know.
"""
