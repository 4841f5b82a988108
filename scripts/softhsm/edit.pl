#!/usr/bin/env perl
# Edits the sources of SoftHSM 2.6.1 for WASI.
#
#   perl edit.pl DIRECTORY    DIRECTORY = src/lib of the unpacked sources
#
# Each edit must match once, or as often as it says: sources other than those it was written for are an error.
use strict;
use warnings;

my $root = shift or die "usage: edit.pl DIRECTORY\n";

# File => [pattern, replacement (text, or code that makes it), how often (1)].
my %edits = (
    # There are no exceptions: std::map::at would end the component.
    'SoftHSM.cpp' => [
        [
            qr/mechanism = t\.at\(token\);/,
            'if (!t.count(token)) { WARNING_MSG("Unknown mechanism: %s", token.c_str()); prev = pos + 1; continue; }'
                . ' mechanism = t[token];'
        ],
    ],
    'slot_mgr/SlotManager.cpp' => [
        [
            qr/return slots\.at\(slotID\);/,
            'const SlotMap::iterator found = slots.find(slotID);'
                . ' return found == slots.end() ? NULL_PTR : found->second;'
        ],
        # A slot has its number from its token, and a copy of a token's folder is a second token of that number: an
        # assertion, without this. It takes the next free number.
        [
            qr/(::insertToken\([^)]*CK_SLOT_ID )slotID(,[^)]*\)\s*\{)/,
            sub { "$1wanted$2 CK_SLOT_ID slotID = wanted; while (slots.count(slotID)) slotID = (slotID + 1) & 0x7fffffff;" }
        ],
    ],
    'object_store/UUID.cpp' => [[qr/throw -1;/, 'abort();']],

    # An object is written aside, flushed and renamed, where SoftHSM empties the file and writes it again: what was there
    # survives a kill at any moment, what was confirmed is on disk, and other instances read the old or the new one.
    'object_store/ObjectFile.cpp' => [
        [
            qr/(::writeAttributes\(File ?&) ?objectFile\)\s*\{/,
            sub { "$1current) { const std::string aside = path + \".new\"; File objectFile(aside, false, true);" }
        ],
        [qr/gen->sync\(objectFile\)/, 'gen->sync(current)'],
        [qr/objectFile\.truncate\(\)/, 'objectFile.isValid()'],
        [
            qr/objectFile\.unlock\(\);\s*return true;/,
            'return objectFile.flush() && secure_log_replace(aside.c_str(), path.c_str(),'
                . ' path.substr(0, path.find_last_of(OS_PATHSEP)).c_str());'
        ],
    ],
    'object_store/File.cpp' => [
        [qr/!fflush\(stream\)/, '!fflush(stream) && !fsync(fileno(stream))'],
        # Damaged files: a length is checked before that much memory is asked for.
        [qr/(?=value\.resize\(len\);)/, 'if (!secure_log_remains(stream, len)) return false; ', 2],
    ],
    # Killed between making a token and setting its SO PIN: nobody can ever log in to it, and it would have its label.
    'object_store/ObjectStore.cpp' => [
        [qr/if \(!token->isValid\(\)\)/, 'ByteString soPIN; if (!token->isValid() || !token->getSOPIN(soPIN))'],
    ],
    # A login that changes no flag writes nothing: it works on a folder that is read-only, and beside other instances.
    'object_store/OSToken.cpp' => [
        [
            qr/(::setTokenFlags\([^)]* flags\)\s*\{)/,
            sub { "$1 CK_ULONG stored; if (getTokenFlags(stored) && stored == flags) return true;" }
        ],
    ],

    # Damaged files: a field longer than its place, key parameters that are none.
    'slot_mgr/Token.cpp' => [
        [qr/\blabel\.size\(\)/,  '(label.size() < 32 ? label.size() : 32)'],
        [qr/\bserial\.size\(\)/, '(serial.size() < 16 ? serial.size() : 16)'],
    ],
    'crypto/OSSLUtil.cpp' => [
        [qr/if \(len == 0\) return NULL;/, 'if (len == 0 || grp == NULL) return NULL;'],
        [qr/(?<=curve_name = )(d2i_\w+[^;]*);/, sub { "$1; if (curve_name == NULL) return NID_undef;" }],
    ],
);

for my $file (sort keys %edits) {
    my $path = "$root/$file";
    local $/;
    open(my $in, '<', $path) or die "edit.pl: cannot read $path: $!\n";
    my $text = <$in>;
    close($in);
    for my $edit (@{ $edits{$file} }) {
        my ($pattern, $replacement, $times) = (@$edit, 1);
        my $found = $text =~ s/$pattern/ref $replacement ? $replacement->() : $replacement/ge;
        $found = 0 unless $found;
        die "edit.pl: in $file $pattern was found $found times, not $times: these are not the sources of SoftHSM 2.6.1\n"
            if $found != $times;
    }
    open(my $out, '>', $path) or die "edit.pl: cannot write $path: $!\n";
    print $out $text;
    close($out) or die "edit.pl: cannot write $path: $!\n";
}
