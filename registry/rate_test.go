package registry

import "testing"

// The limits that a registry tells are numbers that can be, or none.
func FuzzParseLimit(f *testing.F) {
	for _, v := range []string{"100;w=21600", "200;w=21600", "76;w=21600", "100", " 5 ; w=60 ", "100;w=21600;burst=10", "-1", "", ";w=1", "1e3", "99999999999999999999", "5;w=-1", "5;W=1"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		n, window, ok := parseLimit(v)
		if n < 0 || window < 0 || !ok && (n != 0 || window != 0) {
			t.Errorf("%q is %d in %d s, %v", v, n, window, ok)
		}
	})
}
