package caller

// interrupted gives true: macOS doesn't say which signal came.
func (c Caller) interrupted() bool { return true }

// Killed gives false: macOS doesn't say why a program ends.
func (c Caller) Killed() bool { return false }
