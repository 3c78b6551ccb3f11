package net

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// documents returns n documents of about 250 bytes, as the payload of one
// record.
func documents(from, n int) []byte {
	var b []byte
	for i := from; i < from+n; i++ {
		b = fmt.Appendf(b, `{"_id":"%08x","name":"Town %d","country":"C%d","population":%d,"location":{"type":"Point","coordinates":[%d.%04d,%d.%04d]},"timezone":"Europe/Somewhere","elevation":%d}`+"\n",
			i, i*7919%100003, i%193, i*i%1000003, i%180, i*31%10000, i%90, i*17%10000, i%3000)
	}
	return b
}

// BenchmarkCatchUp is a new device that gets a thread from a relay: join,
// transfer, verification, storing, opening, sync; no fold.
func BenchmarkCatchUp(b *testing.B) {
	for _, c := range []struct{ records, size int }{{135, 1000}, {20000, 1}} {
		b.Run(fmt.Sprintf("%d-documents-a-record", c.size), func(b *testing.B) {
			w := newWorld()
			secret := w.newKey(b, w.developer)
			r, a := newRelay(b, w), newParty(b)
			ta := a.create(b)
			var group [][]byte
			for i := range c.records {
				if group = append(group, documents(i*c.size, c.size)); len(group)*c.size >= 1000 || i == c.records-1 {
					writeOne(b, a, ta, group...)
					group = nil
				}
			}
			a.use(b, r, a.credential(b, secret))
			identical(b, ta, r.ID())
			inv := a.invite(b, ta)
			identical(b, ta, r.ID())
			a.halt(b)
			for b.Loop() {
				p := newParty(b)
				p.connect(b, r)
				start := time.Now()
				th := p.joinBy(b, inv)
				p.use(b, r, p.credential(b, secret))
				identical(b, th, r.ID())
				took := time.Since(start)
				b.ReportMetric(float64(c.records*c.size)/took.Seconds(), "docs/s")
				p.halt(b)
			}
		})
	}
}

// BenchmarkLive is the time from before a durable commit on one device until
// the record is stored on another.
func BenchmarkLive(b *testing.B) {
	x, y := newParty(b), newParty(b)
	tx := x.create(b)
	y.connect(b, x)
	ty := y.join(b, tx)
	identical(b, tx, y.ID())
	var times []time.Duration
	payload := documents(1, 1)
	for b.Loop() {
		ids := writeOne(b, x, tx, payload)
		start := time.Now() // committed
		for {
			changed := ty.held().Changed()
			if ty.held().Has(ids[0]) {
				break
			}
			<-changed
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
}
