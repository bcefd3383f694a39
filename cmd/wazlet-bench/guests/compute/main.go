// Command compute is a Go guest that computes: it hashes, sorts, fills maps and calls itself, with goroutines and the
// garbage collector at work, and prints what came out.
package main

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"sync"
)

func main() {
	results := make([]uint64, 8)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i] = work(uint64(i) + 1) })
	}
	wg.Wait()
	fmt.Printf("%x\n", results)
}

func work(seed uint64) uint64 {
	words := map[string]int{}
	var list []uint64
	for range 5000 {
		seed ^= seed << 13
		seed ^= seed >> 7
		seed ^= seed << 17
		words[strconv.FormatUint(seed%977, 10)]++
		list = append(list, seed)
	}
	slices.Sort(list)
	h := sha256.New()
	for _, v := range list {
		fmt.Fprintln(h, v, words[strconv.FormatUint(v%977, 10)])
	}
	return uint64(h.Sum(nil)[0])<<32 + fib(16) + uint64(len(words))
}

func fib(n uint64) uint64 {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}
