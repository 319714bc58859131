"""The stack on one machine: broker, registry, object store and ClickHouse as child processes of an ordinary user.

`stack.up` starts it, `stack.down` ends it; everything listens on 127.0.0.1 and lies under `settings.local.home`.
"""
