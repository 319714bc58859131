"""A ClickHouse server for one machine: chdb (the same engine, embedded) behind the native protocol and HTTP.

It is for laptops, tests and demos: loopback only, one process, one data folder, one user, no TLS, no replication.
Production points the same settings (`[clickhouse]` host, port, user, password) at a real ClickHouse server.

    wire, packets, blocks, compression   bytes of the native protocol, without I/O
    statements, guard                    what a query text asks for, and whether it may
    engine                               chdb: one connection and one thread a client
    native, web                          the two listeners
"""
