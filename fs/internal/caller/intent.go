package caller

// Intent is the reason for which a program looks a name up.
type Intent int

const (
	// Unknown is an intent that can't be found out.
	Unknown Intent = iota
	// Looks is the intent of a program that wants what exists.
	Looks
	// Makes is the intent of a program that makes the name, and fails if it exists.
	Makes
)

// Intent gives the reason for which the caller looks a name up. The lookup request doesn't say
// it: the kernel sends the same one for stat(2) and for open(2) with O_EXCL.
func (c Caller) Intent() Intent {
	if c.Thread == 0 {
		return Unknown
	}
	return intentOfThread(int(c.Thread))
}
