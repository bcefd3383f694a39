package actors

// Tee makes an Observer that gives every event to each of the given ones, in order. Nil ones are left out.
func Tee(observers ...Observer) Observer {
	var all []Observer
	for _, o := range observers {
		if o != nil {
			all = append(all, o)
		}
	}
	return func(e Event) {
		for _, o := range all {
			o(e)
		}
	}
}
