# Which fault the next request meets; tests write the list, one line each: number, path, fault, times, after.
package Faults;

use strict;
use warnings;
use nginx;

my %met;  # how many requests each of them has met

sub next_fault {
    my $request = shift;
    my $path = $request->variable('place');
    open(my $list, '<', $request->variable('faults')) or return '';
    for my $line (<$list>) {
        chomp $line;
        my ($number, $where, $fault, $times, $after) = split /\t/, $line;
        next if $where ne '*' && $where ne $path;
        my $count = $met{$number} // 0;
        next if $count >= $after + $times;
        $met{$number} = $count + 1;
        return $fault if $count >= $after;
    }
    return '';
}

# Half of what was asked for, under the headers of the whole; the connection is closed after it.
sub truncated {
    my $request = shift;
    my $file = $request->filename;
    my ($size, $changed) = (stat $file)[7, 9];
    return 404 unless defined $size;
    my ($start, $stop) = (0, $size);
    if (($request->header_in('Range') // '') =~ /^bytes=(\d+)-(\d*)$/) {
        $start = $1;
        $stop = $2 + 1 if $2 ne '' && $2 < $size;
        $request->status(206);
        $request->header_out('Content-Range', sprintf('bytes %d-%d/%d', $start, $stop - 1, $size));
    }
    $request->header_out('Content-Length', $stop - $start);
    $request->header_out('ETag', sprintf('"%x-%x"', $changed, $size));
    $request->send_http_header('application/octet-stream');
    $request->sendfile($file, $start, int(($stop - $start) / 2)) unless $request->header_only;
    return OK;
}

1;
