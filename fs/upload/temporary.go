package upload

import (
	"regexp"
	"strings"
)

// temporary says whether nothing is ever pushed under a name: the name begins with a dot, or
// programs use it for files that aren't whole yet.
func temporary(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".partial")
}

// passing matches names that programs give to a file for a moment, but that could be tags.
// The push of a manifest with such a name is deferred.
var passing = []*regexp.Regexp{
	regexp.MustCompile(`^sed[A-Za-z0-9]{6}$`),     // sed -i, with mkostemp(3)
	regexp.MustCompile(`^tmp[a-z0-9_]{8}$`),       // Python's tempfile
	regexp.MustCompile(`^te?mp([._-].*)?$`),       // people, and mktemp(1)'s tmp.XXXXXXXXXX
	regexp.MustCompile(`[._-]te?mp([._-]?\d+)?$`), // os.CreateTemp(dir, "v1.tmp*"), and many more
	regexp.MustCompile(`\.(new|bak|orig|old|save)$`),
	regexp.MustCompile(`\.sw[a-px]x?$`),                // vim, if it isn't configured to hide it
	regexp.MustCompile(`^(4913|5036|5159|5282|5405)$`), // vim tests with these if it can write
	regexp.MustCompile(`___jb_(tmp|old)___$`),          // JetBrains' editors
	regexp.MustCompile(`\.kate-swp$`),
	regexp.MustCompile(`\.sb-[0-9a-f]{8}-[A-Za-z0-9]{6}$`), // macOS' editors
	regexp.MustCompile(`\.(part|crdownload|download|filepart)$`),
	regexp.MustCompile(`\.(dpkg|ucf)-(new|tmp|old|dist)$`),
}

// mkstempName matches a name whose end mkstemp(3) made, as in mktemp v1.XXXXXX. An end
// without a capital letter is taken for a word.
var mkstempName = regexp.MustCompile(`\.[A-Za-z0-9]*[A-Z][A-Za-z0-9]*$`)

// passingName says whether a file will probably be renamed, because of its name or the manner
// in which it was made. A file that was made privately may have any name until it is renamed.
// cp, install and editors don't make files privately.
func passingName(name string, made Manner) bool {
	if made == Privately {
		return true
	}
	for _, r := range passing {
		if r.MatchString(name) {
			return true
		}
	}
	end := name[strings.LastIndexByte(name, '.')+1:]
	return len(end) == 6 && len(end) < len(name) && mkstempName.MatchString(name)
}
