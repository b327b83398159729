package fs

// probed are names that programs look up by themselves, in whatever directory somebody
// stands, and that are valid tags. A registry that has no tag of such a name fails nobody,
// so errors.jsonl doesn't tell it. Names with a leading dot are no tags anyway.
var probed = map[string]bool{
	// git, for a bare repository; the shells' prompts run it.
	"HEAD": true,
	// Emacs' vc and make's built-in rules, for older version control.
	"CVS": true, "RCS": true, "SCCS": true,
	// make, and the shells' completion for it.
	"GNUmakefile": true, "Makefile": true, "makefile": true,
	// Editors, language servers and tool version managers, for the root of a project.
	"Cargo.toml": true, "Gemfile": true, "compile_commands.json": true, "composer.json": true, "go.mod": true, "go.work": true,
	"package.json": true, "pom.xml": true, "pyproject.toml": true, "setup.py": true, "tsconfig.json": true,
	// Editors, for ctags' and etags' files.
	"TAGS": true, "tags": true,
	// tar --exclude-caches, restic and borg (bford.info/cachedir).
	"CACHEDIR.TAG": true,
	// Windows, by way of Samba.
	"Thumbs.db": true, "autorun.inf": true, "desktop.ini": true,
}
