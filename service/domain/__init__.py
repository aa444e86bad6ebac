"""Pure rules: what may happen to a run, when it is tried again, what a sweep means, who goes next. No SQL, HTTP or clock."""
