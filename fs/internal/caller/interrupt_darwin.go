package caller

// interrupted is true: macOS doesn't tell which signal came.
func (c Caller) interrupted() bool { return true }

// Killed is false: macOS doesn't tell why a program ends.
func (c Caller) Killed() bool { return false }
