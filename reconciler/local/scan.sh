#!/bin/sh
# An SBOM generator that obeys BuildKit's scanner protocol (docs/attestations/sbom-protocol.md): it lists every file
# that it finds in $BUILDKIT_SCAN_SOURCE and in each folder of $BUILDKIT_SCAN_SOURCE_EXTRAS, with its checksums, as an
# SPDX 2.3 document in an in-toto statement. It knows of no packages: it stands in for syft where that can't be had.
set -eu

work=$(mktemp -d)
newline='
'

statement() { # FOLDER OUTPUT: one statement on all regular files of a folder
    core=$(basename "$1")
    # a name with a line break would break the lines of the checksums
    (cd "$1" && find . -xdev -type f ! -name "*${newline}*" | LC_ALL=C sort) >"$work/names"
    (cd "$1" && tr '\n' '\0' <"$work/names" | xargs -0 -r sha1sum) >"$work/sha1"
    (cd "$1" && tr '\n' '\0' <"$work/names" | xargs -0 -r sha256sum) >"$work/sha256"
    LC_ALL=C awk -v core="$core" -v created="$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
        -v id="$(sha256sum <"$work/sha256" | cut -c1-64)" '
        function text(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); gsub(/[\001-\037\177-\377]/, "?", s); return "\"" s "\"" }
        FNR == 1 { part++ }
        part == 1 { first[++count] = $1; next }
        { second[++seen] = $1; name[seen] = substr($0, index($0, "  ") + 2) }
        END {
            printf "{\"_type\":\"https://in-toto.io/Statement/v0.1\",\"predicateType\":\"https://spdx.dev/Document\",\"predicate\":{"
            printf "\"spdxVersion\":\"SPDX-2.3\",\"dataLicense\":\"CC0-1.0\",\"SPDXID\":\"SPDXRef-DOCUMENT\",\"name\":%s,", text(core)
            printf "\"documentNamespace\":\"urn:sha256:%s\",", id
            printf "\"creationInfo\":{\"creators\":[\"Tool: reconcile-scan-1\"],\"created\":\"%s\"},\"files\":[", created
            for (i = 1; i <= seen; i++) {
                printf "%s{\"SPDXID\":\"SPDXRef-File-%d\",\"fileName\":%s,\"checksums\":[", (i > 1 ? "," : ""), i, text(name[i])
                printf "{\"algorithm\":\"SHA1\",\"checksumValue\":\"%s\"},", first[i]
                printf "{\"algorithm\":\"SHA256\",\"checksumValue\":\"%s\"}],\"copyrightText\":\"NOASSERTION\"}", second[i]
            }
            printf "],\"relationships\":["
            for (i = 1; i <= seen; i++)
                printf "%s{\"spdxElementId\":\"SPDXRef-DOCUMENT\",\"relationshipType\":\"DESCRIBES\",\"relatedSpdxElement\":\"SPDXRef-File-%d\"}", (i > 1 ? "," : ""), i
            printf "]}}\n"
        }' "$work/sha1" "$work/sha256" >"$2"
}

statement "$BUILDKIT_SCAN_SOURCE" "$BUILDKIT_SCAN_DESTINATION/$(basename "$BUILDKIT_SCAN_SOURCE").spdx.json"
if [ -d "${BUILDKIT_SCAN_SOURCE_EXTRAS:-}" ]; then
    for extra in "$BUILDKIT_SCAN_SOURCE_EXTRAS"/*; do
        [ -d "$extra" ] && statement "$extra" "$BUILDKIT_SCAN_DESTINATION/$(basename "$extra").spdx.json"
    done
fi
rm -rf "$work"
