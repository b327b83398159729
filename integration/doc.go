// Package integration tests the built program as a person uses it: the real
// binary on real mountpoints against real registries, looked at by real readers,
// from other processes. It never imports a package of the product.
//
// One file a topic: requests (what a step costs at the registry), tree (what
// stands where), identity (no directory is taken for another's), readers (skopeo,
// umoci, crane, oras, regctl, cp, rsync, tar), writers (the same, buildah and rclone,
// into upload/), uploads and pushes (what pushing costs, what it shows, how it fails),
// changes (what can't be changed, and deleting), auth, errors (what goes wrong, and
// how it reads), told_apart (how programs read it), network (many programs while the
// network is bad), mass_reading (programs that go through everything), memory (a bound,
// whatever is named), stall (what one program waits for keeps no other waiting), cache,
// stacked (overlayfs over and below), inside (the files inside images: strange trees,
// costs, errors, what others see, chroot), space (what df says), command, units (systemd's), script (what a person types, in testdata/script). The tests build
// the program first, with the race detector, and mount that one; where memory is measured
// they mount the plain one.
package integration
