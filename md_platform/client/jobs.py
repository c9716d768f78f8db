"""placeholder"""

from dataclasses import dataclass


@dataclass
class Backfill: ...


@dataclass
class ExportJob: ...


@dataclass
class Alert: ...
