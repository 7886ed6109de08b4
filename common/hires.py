"""Codes of the high-resolution event log of traffic signals, in the standard (Indiana/Purdue) enumerations.

A log is rows of moment, code and parameter. The parameter is a phase, a detector's channel, a preemption's number,
or a value, as the code has it. The lights write it, the collector reads it; only what Stopline writes is here.
"""

from enum import IntEnum, IntFlag


class Code(IntEnum):
    """What happened. The parameter is the phase unless the comment tells otherwise."""

    PHASE_ON = 0
    BEGIN_GREEN = 1
    MIN_COMPLETE = 3
    GAP_OUT = 4
    MAX_OUT = 5
    FORCE_OFF = 6
    END_GREEN = 7
    BEGIN_YELLOW = 8
    END_YELLOW = 9
    BEGIN_RED_CLEARANCE = 10
    END_RED_CLEARANCE = 11
    PHASE_INACTIVE = 12
    BEGIN_WALK = 21
    BEGIN_WALK_CLEARANCE = 22
    BEGIN_DONT_WALK = 23
    CALL_REGISTERED = 43
    CALL_DROPPED = 44
    WALK_CALL_REGISTERED = 45
    DETECTOR_OFF = 81  # channel, as are all up to 90
    DETECTOR_ON = 82
    DETECTOR_RESTORED = 83
    DETECTOR_FAULT_OTHER = 84
    DETECTOR_FAULT_SILENT = 85
    DETECTOR_FAULT_OPEN = 86
    DETECTOR_FAULT_STUCK = 87
    DETECTOR_FAULT_CHATTER = 88
    BUTTON_OFF = 89
    BUTTON_ON = 90
    BUTTON_FAILED = 91  # a button is no vehicle detector, so it has none of 83 to 88
    BUTTON_RESTORED = 92
    PREEMPT_CALL_ON = 102  # number of the preemption, as are all up to 111
    PREEMPT_CALL_OFF = 104
    PREEMPT_ENTRY = 105
    PREEMPT_DWELL = 107
    PREEMPT_MAX_PRESENCE = 110
    PREEMPT_EXIT = 111
    PATTERN = 131  # number of the plan, from 1
    CYCLE_LENGTH = 132  # s, 0 where the plan runs free
    OFFSET = 133  # s
    SPLIT_1 = 134  # s: green, yellow and red clearance of phase 1 in a coordinated plan
    SPLIT_2 = 135
    SPLIT_3 = 136
    SPLIT_4 = 137
    SPLIT_5 = 138
    SPLIT_6 = 139
    SPLIT_7 = 140
    SPLIT_8 = 141
    SPLIT_9 = 142
    SPLIT_10 = 143
    SPLIT_11 = 144
    SPLIT_12 = 145
    SPLIT_13 = 146
    SPLIT_14 = 147
    SPLIT_15 = 148
    SPLIT_16 = 149
    COORDINATION = 150  # `Coordination`
    UNIT_CONTROL = 155  # `UnitControl`
    UNIT_FLASH = 173  # `UnitFlash`
    UNIT_ALARM = 174  # `UnitAlarm`, a set of bits
    MANUAL_CONTROL = 178  # 1 on, 0 off
    CLOCK_SET = 181  # by how many s, without sign
    POWER_FAILED = 182  # 0
    POWER_RESTORED = 184  # 0
    ALARM_ON = 200  # number of the fault in `steps.FaultCode`, from 1
    ALARM_OFF = 201


class Coordination(IntEnum):
    """Parameter of `Code.COORDINATION`."""

    FREE = 0
    IN_STEP = 1
    ADDING = 2
    """Greens are longer until it is in step."""
    SUBTRACTING = 3
    """They are shorter."""
    LOCAL_ZERO = 5
    """The plan's first stage begins its green."""


class UnitControl(IntEnum):
    """Parameter of `Code.UNIT_CONTROL`: who decides."""

    OTHER = 1
    SYSTEM = 2
    """Somebody chose the plan: mode `fixed`."""
    MANUAL = 5
    """Somebody set the times or the flash: `manual_override`, `flash`."""
    TIME_BASE = 6
    """The schedule: `automatic`."""


class UnitFlash(IntEnum):
    """Parameter of `Code.UNIT_FLASH`."""

    DARK = 1
    """Mode `off`."""
    NONE = 2
    ORDER = 4
    FAULT = 5
    """The controller itself stopped: an exception, a lost plan, a late step."""
    MONITOR = 6
    """The interlock: lamps or commands that must not be."""
    START_UP = 7


class UnitAlarm(IntFlag):
    """Parameter of `Code.UNIT_ALARM`."""

    NONE = 0
    CYCLE_FAULT = 1
    """A movement with a call was not served in time."""
    MONITOR_FLASH = 16
    LOCAL_FLASH = 32
    LOCAL_FREE = 64
    """The plan is coordinated, but an order or a preemption has the lights."""
    COORDINATED = 128
