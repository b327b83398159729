package fs

// probed are names that programs look up by themselves in every directory. If there is no such tag or
// repository, nobody misses it, so errors.jsonl doesn't report it. Names with a leading dot are not
// here, because they are neither valid tags nor, in lower case, repositories.
var probed = map[string]bool{
	// git looks for a bare repository. Shell prompts run git.
	"HEAD": true,
	// Emacs' vc, and the built-in rules of make, look for older version control.
	"CVS": true, "RCS": true, "SCCS": true,
	// make, and the completion of shells for it.
	"GNUmakefile": true, "Makefile": true, "makefile": true,
	// Editors, language servers and tool version managers look for the root of a project.
	"Cargo.toml": true, "Gemfile": true, "compile_commands.json": true, "composer.json": true, "go.mod": true, "go.work": true,
	"BUILD": true, "MODULE.bazel": true, "WORKSPACE": true, "CMakeLists.txt": true, "Containerfile": true, "Dockerfile": true,
	"Jenkinsfile": true, "Pipfile": true, "Procfile": true, "Rakefile": true, "Vagrantfile": true,
	"package.json": true, "pom.xml": true, "pyproject.toml": true, "setup.py": true, "tsconfig.json": true,
	// Editors look for files of ctags and etags.
	"TAGS": true, "tags": true,
	// tar --exclude-caches, restic and borg (bford.info/cachedir).
	"CACHEDIR.TAG": true,
	// People's tools show these.
	"CHANGELOG": true, "LICENSE": true, "README": true,
	// File managers look for media: the camera's file system (DCF), DVDs and Blu-ray discs.
	"DCIM": true, "VIDEO_TS": true, "AUDIO_TS": true, "BDMV": true, "AUTORUN.INF": true, "Contents": true,
	// Windows, through Samba.
	"Thumbs.db": true, "autorun.inf": true, "desktop.ini": true,
}
