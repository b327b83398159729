package rootfs

import (
	"encoding/base64"
	"encoding/binary"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Bounds of extended attributes, from Linux' include/uapi/linux/limits.h: bytes of a name, and of
// a value.
const (
	maxXattrName  = 255
	maxXattrValue = 64 << 10
)

// xattrs keeps the extended attributes of an entry: pairs of a name and a value, ordered by name.
// Each is behind its length as a uvarint. LIBARCHIVE.xattr has the name in percent encoding and
// the value in base64. bsdtar writes it beside SCHILY.xattr, which wins.
func (s *scanner) xattrs(e *entry) (ref, error) {
	var all map[string]string
	for _, schily := range []bool{false, true} {
		for k, v := range e.PAXRecords {
			if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok && schily {
				k = name
			} else if name, ok := strings.CutPrefix(k, "LIBARCHIVE.xattr."); ok && !schily {
				var err error
				if k, err = url.PathUnescape(name); err != nil {
					k = name
				}
				b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(v, "="))
				if err != nil {
					continue
				}
				v = string(b)
			} else {
				continue
			}
			if k == "" || strings.IndexByte(k, 0) >= 0 || len(k) > maxXattrName || len(v) > maxXattrValue {
				continue
			}
			if all == nil {
				all = make(map[string]string)
			}
			all[k] = v
		}
	}
	if all == nil {
		return 0, nil
	}
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(all)) {
		for _, v := range []string{k, all[k]} {
			b = binary.AppendUvarint(b, uint64(len(v)))
			b = append(b, v...)
		}
	}
	return s.strings.add(string(b))
}

// decodeXattrs is the reverse of what xattrs keeps.
func decodeXattrs(b []byte) (map[string]string, bool) {
	all := make(map[string]string)
	for len(b) > 0 {
		var kv [2]string
		for i := range kv {
			n, w := binary.Uvarint(b)
			if w <= 0 || n > uint64(len(b)-w) {
				return nil, false
			}
			kv[i] = string(b[w:][:n])
			b = b[w+int(n):]
		}
		all[kv[0]] = kv[1]
	}
	return all, true
}
