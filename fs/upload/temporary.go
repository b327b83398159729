package upload

import (
	"regexp"
	"strings"
)

// temporary says whether nothing is ever pushed under a name: programs give it to files that
// aren't whole yet, or it begins with a dot.
func temporary(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".partial")
}

// passing are names that programs give to a file for a moment, and that can be tags. The push
// of a manifest with such a name is deferred.
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

// mkstempName is a name whose end mkstemp(3) made up, as mktemp v1.XXXXXX gives it. An end of
// small letters alone is a word.
var mkstempName = regexp.MustCompile(`\.[A-Za-z0-9]*[A-Z][A-Za-z0-9]*$`)

// passingName says whether a file looks as if it were to be renamed, by its name. The name of
// a file that was made privately may be any. cp, install and editors make none so.
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
