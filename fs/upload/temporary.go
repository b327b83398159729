package upload

import (
	"regexp"
	"strings"
)

// temporary says whether a name is one that tools give to what isn't whole yet, or
// that means nothing to a registry. Nothing is ever pushed under it.
func temporary(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".partial")
}

// passing are names that programs give to a file for a moment, and that can be tags:
// a manifest with such a name isn't pushed before a moment is over in which it isn't
// renamed.
var passing = []*regexp.Regexp{
	regexp.MustCompile(`^sed[A-Za-z0-9]{6}$`),     // sed -i, by mkostemp(3)
	regexp.MustCompile(`^tmp[a-z0-9_]{8}$`),       // Python's tempfile
	regexp.MustCompile(`^te?mp([._-].*)?$`),       // a person's, and mktemp(1)'s tmp.XXXXXXXXXX
	regexp.MustCompile(`[._-]te?mp([._-]?\d+)?$`), // Go's os.CreateTemp(dir, "v1.tmp*"), and many more
	regexp.MustCompile(`\.(new|bak|orig|old|save)$`),
	regexp.MustCompile(`\.sw[a-px]x?$`),                // vim, where it isn't told to hide it
	regexp.MustCompile(`^(4913|5036|5159|5282|5405)$`), // vim's trials whether a directory can be written
	regexp.MustCompile(`___jb_(tmp|old)___$`),          // JetBrains' editors
	regexp.MustCompile(`\.kate-swp$`),
	regexp.MustCompile(`\.sb-[0-9a-f]{8}-[A-Za-z0-9]{6}$`), // macOS' editors
	regexp.MustCompile(`\.(part|crdownload|download|filepart)$`),
	regexp.MustCompile(`\.(dpkg|ucf)-(new|tmp|old|dist)$`),
}

// mkstempName is a name with an end that mkstemp(3) made: v1.XXXXXX, as mktemp(1) is
// told it. One of six small letters is a word.
var mkstempName = regexp.MustCompile(`\.[A-Za-z0-9]*[A-Z][A-Za-z0-9]*$`)

// privateName is a name with an end that may be made up: six characters by mkstemp(3),
// eight by Python's tempfile, a number by Go's os.CreateTemp.
var privateName = regexp.MustCompile(`[A-Za-z0-9_]{6}$|\d{4}$`)

// passingName says whether a file looks as if it were to be renamed. private is whether
// it was made as those functions make theirs: anew, to be read and written, and for
// nobody else. cp and install make none so.
func passingName(name string, private bool) bool {
	for _, r := range passing {
		if r.MatchString(name) {
			return true
		}
	}
	end := name[strings.LastIndexByte(name, '.')+1:]
	return len(end) == 6 && len(end) < len(name) && mkstempName.MatchString(name) || private && privateName.MatchString(name)
}
