"""All dashboards."""

from typing import Final

from tickerplant.dashboards.consumer_lag import CONSUMER_LAG
from tickerplant.dashboards.data_quality import QUALITY
from tickerplant.dashboards.ingestion import INGESTION
from tickerplant.dashboards.pipeline import PIPELINE

DASHBOARDS: Final = (INGESTION, PIPELINE, CONSUMER_LAG, QUALITY)
