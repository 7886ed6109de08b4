// Who decides what lights show, in words.

export const MODES = {
  automatic: "Automatic",
  manual_override: "Manual override",
  fixed: "Fixed plan",
  flash: "Flashing",
  preempt: "Emergency vehicle",
  off: "Off",
};
