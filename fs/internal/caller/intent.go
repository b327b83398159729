package caller

// Intent is the reason for which a program looks a name up.
type Intent int

const (
	// Unknown is an intent that can't be told.
	Unknown Intent = iota
	// Looks is the intent of a program that wants what is there.
	Looks
	// Makes is the intent of a program that makes the name anew, and fails if it is there.
	Makes
)

// Intent gives the reason for which the caller looks a name up. The request of a lookup
// doesn't tell: the kernel sends the same one for stat(2) and for open(2) with O_EXCL.
func (c Caller) Intent() Intent {
	if c.Thread == 0 {
		return Unknown
	}
	return intentOfThread(int(c.Thread))
}
