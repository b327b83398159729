package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func texts(all []mountOption) (s []string) {
	for _, o := range all {
		s = append(s, o.String())
	}
	return s
}

// Commas separate options, but not between double quotes, and no quote is part of a value.
func TestMountOptionsAreSplit(t *testing.T) {
	for list, want := range map[string][]string{
		"":                                 nil,
		",,":                               nil,
		"rw":                               {"rw"},
		"a,b=c,,d=":                        {"a", "b=c", "d="},
		"a=b=c":                            {"a=b=c"},
		`rw,plain_http=a:5000,"b,c"`:       {"rw", "plain_http=a:5000", "b,c"},
		`plain_http="a:5000,b",ro`:         {"plain_http=a:5000,b", "ro"},
		`cache_dir=/var/"a,b"/c`:           {"cache_dir=/var/a,b/c"},
		`context="system_u:object_r:s0,c"`: {"context=system_u:object_r:s0,c"},
		`"a=b"=c`:                          {"a=b=c"},
		`cache_dir=/a b\,c`:                {`cache_dir=/a b\`, "c"},
	} {
		all, err := splitMountOptions(list)
		if err != nil || !slices.Equal(texts(all), want) {
			t.Errorf("%q is split into %q, %v; want %q", list, texts(all), err, want)
		}
	}
	for _, list := range []string{`"`, `a="b`, "=a", `""=a`, "a,=b"} {
		if all, err := splitMountOptions(list); err == nil {
			t.Errorf("%q is split into %q; want an error", list, texts(all))
		}
	}
}

// Each option goes to whom it is for: the kernel, the environment, ocifs' settings, or nobody.
func TestMountOptionsAreSorted(t *testing.T) {
	for list, want := range map[string]string{
		"rw,defaults,auto,noauto,_netdev,nofail":                                                                                 "[] [] []",
		"user,user=me,nouser,users,nousers,owner,noowner,group,nogroup":                                                          "[] [] []",
		"comment=hello,x-systemd.automount,x-systemd.idle-timeout=10min,X-mount.mkdir,uhelper=udisks2,helper=y":                  "[] [] []",
		"sync,async,dirsync,atime,noatime,diratime,nodiratime,relatime,norelatime,strictatime,nostrictatime,lazytime,nolazytime": "[] [] []",
		"iversion,noiversion,mand,nomand,silent,loud,dev,suid,exec":                                                              "[] [] []",
		"default_permissions,subtype=x,fsname=y":                                                                                 "[] [] []",
		"nodev,nosuid,noexec":                                                                                                    "[] [nodev nosuid noexec] []",
		`context="a,b",fscontext=c,defcontext="d",rootcontext=e`:                                                                 `[] [context="a,b" fscontext=c defcontext=d rootcontext=e] []`,
		"ro": "[read_only] [] []",
		"rw,noexec,nosuid,nodev,allow_other,cache_dir=/var/c,_netdev,nofail,user": "[allow_other cache_dir=/var/c] [noexec nosuid nodev] []",
		"allow-other,cache-dir=/c":                                                           "[allow-other cache-dir=/c] [] []",
		`rw,plain_http=a:5000,plain_http="b,c"`:                                              "[plain_http=a:5000 plain_http=b,c] [] []",
		"env.HTTPS_PROXY=http://p:3128,env.A=,env.B=c=d":                                     "[] [] [HTTPS_PROXY=http://p:3128 A= B=c=d]",
		"no_such,no_such=1,ro=1,context,noexec=1,subtype,_netdev=1,atime=2,userx,nodefaults": "[no_such no_such=1 ro=1 context noexec=1 subtype _netdev=1 atime=2 userx nodefaults] [] []",
	} {
		m, err := parseMountOptions(list)
		if got := fmt.Sprint(texts(m.settings), m.fuse, texts(m.env)); err != nil || got != want {
			t.Errorf("%q gives %s, %v; want %s", list, got, err, want)
		}
		if m.another != "" {
			t.Errorf("%q is taken for %s", list, m.another)
		}
	}
	for _, list := range []string{"remount", "ro,remount", "bind", "rbind,ro"} {
		if m, err := parseMountOptions(list); err != nil || m.another == "" {
			t.Errorf("%q is taken for a mount, %v", list, err)
		}
	}
	for _, list := range []string{"env.A", "env.=b", "env."} {
		if m, err := parseMountOptions(list); err == nil {
			t.Errorf("%q sets %q in the environment", list, texts(m.env))
		}
	}
}

// An option that is quoted for mount(2) is the same option there.
func FuzzMountOptions(f *testing.F) {
	for _, list := range []string{"ro", `rw,plain_http=a:5000,"b,c"`, `context="a,b",noexec`, "env.A=b,env.C=d=e", `a="`, ",,=", `"a=b"=c`} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		all, err := splitMountOptions(list)
		if err != nil {
			return
		}
		var again []string
		for _, o := range all {
			if o.name == "" || strings.Contains(o.String(), `"`) {
				t.Fatalf("%q holds the option %q", list, o)
			}
			if strings.ContainsAny(o.name, ",=") {
				return // only a quoted name has one; no option for mount(2) has
			}
			again = append(again, quoteMountOption(o))
		}
		back, err := splitMountOptions(strings.Join(again, ","))
		if err != nil || !slices.Equal(back, all) {
			t.Fatalf("%q is %q, and quoted %q, which is %q, %v", list, all, again, back, err)
		}
		m, err := parseMountOptions(list)
		if err == nil && len(m.settings)+len(m.fuse)+len(m.env) > len(all) {
			t.Fatalf("%q has %d options, and more came of them: %+v", list, len(all), m)
		}
	})
}
