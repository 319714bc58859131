"""The dashboard *Consumer lag*: per group, topic, partition, in messages and seconds, by commit and by position."""

from typing import Final

from tickerplant.dashboards.model import Dashboard, Panel, Query, Row, Variable
from tickerplant.dashboards.promql import rate

CHOSEN: Final = '{group=~"$group",topic=~"$topic"}'
GROUP: Final = '{group=~"$group"}'
TOPIC: Final = '{topic=~"$topic"}'
LAG: Final = f"kafka_consumergroup_group_lag{CHOSEN}"
LAG_S: Final = f"kafka_consumergroup_group_lag_seconds{CHOSEN}"
KEPT: Final = f"clamp_min(kafka_partition_latest_offset{TOPIC} - kafka_partition_earliest_offset{TOPIC}, 1)"

NOW: Final = Row(
    title="Now",
    panels=[
        Panel(
            title="Longest wait",
            description="Of the oldest record that a chosen group has not committed. An alert stands on 60 s.",
            queries=[Query(f"max ({LAG_S})")],
            unit="s",
            kind="stat",
            warn=30.0,
            bad=60.0,
            width=6,
            height=4,
        ),
        Panel(
            title="Messages not committed",
            description="Of all chosen groups.",
            queries=[Query(f"sum ({LAG})")],
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            title="Groups",
            description="Consumer groups that read our topics, subscribers among them.",
            queries=[Query("count (kafka_consumergroup_group_sum_lag)")],
            kind="stat",
            width=6,
            height=4,
        ),
        Panel(
            title="Age of these figures",
            description="Grows while the broker does not answer the lag exporter.",
            queries=[Query("max (kafka_consumergroup_poll_age_seconds)")],
            unit="s",
            kind="stat",
            warn=15.0,
            bad=60.0,
            width=6,
            height=4,
        ),
    ],
)

GROUPS: Final = Row(
    title="By group",
    panels=[
        Panel(
            title="Lag in seconds, by group",
            description="How long the oldest record not committed has waited, the longest of all partitions.",
            queries=[Query(f"kafka_consumergroup_group_max_lag_seconds{GROUP}", "{{group}}")],
            unit="s",
            warn=30.0,
            bad=60.0,
        ),
        Panel(
            title="Lag in messages, by group",
            description="Records not committed, summed over partitions.",
            queries=[Query(f"kafka_consumergroup_group_sum_lag{GROUP}", "{{group}}")],
        ),
        Panel(
            title="Trend",
            description="Messages per second by which the lag grows; above 0 = falling behind.",
            queries=[Query(f"deriv(kafka_consumergroup_group_sum_lag{GROUP}[5m])", "{{group}}")],
            unit="cps",
        ),
        Panel(
            title="Share of what is kept",
            description="Lag as part of what the topic still holds: at 100 % records expire unread.",
            queries=[
                Query(
                    f"max by (group, topic) ({LAG} / on (cluster_name, topic, partition) group_left {KEPT})",
                    "{{group}} {{topic}}",
                )
            ],
            unit="percentunit",
            bad=0.9,
        ),
    ],
)

TOPICS: Final = Row(
    title="By topic",
    panels=[
        Panel(
            title="Lag in seconds, by topic",
            description="The longest of the topic's partitions.",
            queries=[Query(f"max by (group, topic) ({LAG_S})", "{{group}} {{topic}}")],
            unit="s",
        ),
        Panel(
            title="Lag in messages, by topic",
            description="Summed over the topic's partitions.",
            queries=[Query(f"kafka_consumergroup_group_topic_sum_lag{CHOSEN}", "{{group}} {{topic}}")],
        ),
        Panel(
            title="Production, by topic",
            description="Records per second written to each topic.",
            queries=[Query(rate(f"kafka_partition_latest_offset{TOPIC}", "topic"), "{{topic}}")],
            unit="cps",
        ),
        Panel(
            title="Consumption, by group and topic",
            description="Records per second committed; below production = falling behind.",
            queries=[Query(rate(f"kafka_consumergroup_group_offset{CHOSEN}", "group", "topic"), "{{group}} {{topic}}")],
            unit="cps",
        ),
    ],
)

PARTITIONS: Final = Row(
    title="By partition",
    panels=[
        Panel(
            title="Lag in seconds, by partition",
            description="One partition behind all others: a hot symbol, or a member that hangs.",
            queries=[Query(LAG_S, "{{group}} {{topic}} {{partition}}")],
            unit="s",
        ),
        Panel(
            title="Lag in messages, by partition",
            description="Records not committed.",
            queries=[Query(LAG, "{{group}} {{topic}} {{partition}}")],
        ),
        Panel(
            title="All partitions",
            description="As of now.",
            queries=[
                Query(f"sum by (group, topic, partition) ({LAG})", is_instant=True),
                Query(f"max by (group, topic, partition) ({LAG_S})", is_instant=True),
            ],
            kind="table",
            width=24,
            height=10,
        ),
    ],
)

POSITION: Final = Row(
    title="By position",
    panels=[
        Panel(
            title="Lag in seconds by position, by stage",
            description="Of our own stages, by what they have taken: processors commit each second, sinks each chunk.",
            queries=[Query(f"max by (stage) (stage_lag_seconds{TOPIC})", "{{stage}}")],
            unit="s",
        ),
        Panel(
            title="Lag in messages by position, by stage",
            description="Records that a stage has not taken yet.",
            queries=[Query(f"sum by (stage) (stage_lag_records{TOPIC})", "{{stage}}")],
        ),
        Panel(
            title="Lag in seconds by position, by partition",
            description="The same, partition by partition.",
            queries=[
                Query(
                    f"max by (stage, topic, partition) (stage_lag_seconds{TOPIC})", "{{stage}} {{topic}} {{partition}}"
                )
            ],
            unit="s",
        ),
        Panel(
            title="Lag in messages by position, by partition",
            description="The same, partition by partition.",
            queries=[
                Query(
                    f"sum by (stage, topic, partition) (stage_lag_records{TOPIC})", "{{stage}} {{topic}} {{partition}}"
                )
            ],
        ),
    ],
)

EXPORTER: Final = Row(
    title="Exporter",
    panels=[
        Panel(
            title="Time for a reading",
            description="How long it took to ask the broker for all of this.",
            queries=[Query("kafka_consumergroup_poll_time_ms", "{{cluster_name}}")],
            unit="ms",
            width=24,
            height=6,
        )
    ],
)

CONSUMER_LAG: Final = Dashboard(
    uid="consumer-lag",
    title="Consumer lag",
    description="How far each consumer group is behind, by commit and by position, in messages and in seconds.",
    rows=[NOW, GROUPS, TOPICS, PARTITIONS, POSITION, EXPORTER],
    variables=[
        Variable(name="group", label="group", selector="kafka_consumergroup_group_lag"),
        Variable(name="topic", label="topic", selector=f"kafka_consumergroup_group_lag{GROUP}"),
    ],
)
