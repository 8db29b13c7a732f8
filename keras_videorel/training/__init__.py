"""How models learn: optimizers and schedules, gradient accumulation, callbacks, devices."""
