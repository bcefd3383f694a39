package engine

import (
	"context"
	"encoding/binary"

	"github.com/tetratelabs/wazero/api"
)

// unstable makes a function of preview 1 one of wasi_unstable, which preceded it. The two differ in three places:
//
//   - fd_seek: whence is cur, end, set, where preview 1 has set, cur, end;
//   - filestat: nlink is 32 bits, so that the structure has 56 bytes, where preview 1 has 64;
//   - poll_oneoff: a clock subscription begins with an identifier, so that a subscription has 56 bytes, where preview 1 has 48.
func unstable(name string, preview1 api.GoModuleFunc) api.GoModuleFunc {
	switch name {
	case "fd_seek":
		return unstableSeek(preview1)
	case "fd_filestat_get":
		return unstableFilestat(preview1, 1)
	case "path_filestat_get":
		return unstableFilestat(preview1, 4)
	case "poll_oneoff":
		return unstablePoll(preview1)
	default:
		return preview1
	}
}

func unstableSeek(next api.GoModuleFunc) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		switch whence := uint32(stack[2]); whence {
		case 0, 1: // cur, end
			stack[2] = uint64(whence + 1)
		case 2: // set
			stack[2] = 0
		default:
			stack[0] = errnoInval
			return
		}
		next(ctx, mod, stack)
	}
}

const (
	filestatSize         = 64
	unstableFilestatSize = 56
)

// unstableFilestat lets preview 1 write its larger structure over the guest's memory, at the place of the result or as far
// before it as the memory ends, and puts back what was there. The guest does not run meanwhile.
func unstableFilestat(next api.GoModuleFunc, result int) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		mem, at := mod.Memory(), uint32(stack[result])
		if _, ok := mem.Read(at, unstableFilestatSize); !ok || mem.Size() < filestatSize {
			stack[0] = errnoFault
			return
		}
		at1 := min(at, mem.Size()-filestatSize)
		window, _ := mem.Read(at1, filestatSize)
		var saved, stat [filestatSize]byte
		copy(saved[:], window)
		stack[result] = uint64(at1)
		next(ctx, mod, stack)
		copy(stat[:], window)
		copy(window, saved[:])
		if stack[0] != 0 {
			return
		}
		out, _ := mem.Read(at, unstableFilestatSize)
		copy(out[:24], stat[:20])                                                        // dev, ino, filetype
		binary.LittleEndian.PutUint32(out[20:], binary.LittleEndian.Uint32(stat[24:28])) // nlink
		copy(out[24:], stat[32:])                                                        // size, atim, mtim, ctim
	}
}

const unstableSubscriptionSize = 56

// unstablePoll rewrites the subscriptions in place for the time of the call.
func unstablePoll(next api.GoModuleFunc) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		in, n := uint32(stack[0]), uint64(uint32(stack[2]))
		if n*unstableSubscriptionSize > uint64(mod.Memory().Size()) {
			stack[0] = errnoFault
			return
		}
		subs, ok := mod.Memory().Read(in, uint32(n*unstableSubscriptionSize))
		if !ok {
			stack[0] = errnoFault
			return
		}
		saved := append([]byte(nil), subs...)
		for i := range int(n) {
			from, to := saved[i*unstableSubscriptionSize:][:unstableSubscriptionSize], subs[i*subscriptionSize:][:subscriptionSize]
			copy(to, from)
			if from[8] == 0 { // a clock: leave out the identifier at 16
				copy(to[16:], from[24:])
			}
		}
		next(ctx, mod, stack)
		copy(subs, saved)
	}
}
