"""Which target a machine is, by what it says of itself.

recognise(this_host(), [{"name": "NVIDIA GeForce RTX 4090", "sm": 89}])  # ("rtx-4090", "...")
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..host.machine import Host
from ..variants import sm_text
from .catalogue import TARGETS

CLASS_OF_SM = {75: "rtx-20", 86: "rtx-30", 89: "rtx-40", 120: "rtx-50", 90: "h100", 110: "thor"}
"""Target whose limits hold for a GPU the table has no board for."""


def recognise(
    host: Host, gpus: Sequence[Mapping[str, Any]], failure: str = ""
) -> tuple[str | None, str]:
    """Name the target this machine is, and say how that is known.

    A Jetson is known by its module's part number, a card by its name, any other GPU by its compute
    capability alone; the backends run on the first GPU, so that one decides.

    Args:
        host: The machine.
        gpus: Of each its `name`, `sm` and whether it is `integrated`.
        failure: What kept the driver from telling which GPUs there are; empty where it told.
    """
    if host.module:
        for target in TARGETS.values():
            if host.module in target.modules:
                return target.name, f"module {host.module}"
    if not gpus and host.is_jetson:
        return None, "a Jetson this table does not know"
    if not gpus:
        return (None, failure) if failure else ("cpu", "no GPU")
    name, sm = str(gpus[0].get("name", "")), gpus[0].get("sm")
    board = re.sub(r"^(NVIDIA|GeForce|Tesla|\s)+", "", name)
    for target in TARGETS.values():
        if board in target.reports_as and target.sm == sm:
            return target.name, f"'{name}'"
    close = CLASS_OF_SM.get(sm) if sm is not None and not gpus[0].get("integrated") else None
    if close:
        return close, f"'{name}' is not in the table; taken by its SM {sm_text(sm or 0)}"
    return None, f"'{name}' is not in the table"
