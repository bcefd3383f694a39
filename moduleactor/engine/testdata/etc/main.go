// Command etc prints the files of /etc, as etc.c does, and sleeps for ever if its argument is idle.
package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	entries, err := os.ReadDir("/etc")
	if err != nil {
		fmt.Println(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile("/etc/" + e.Name())
		fmt.Printf("%s regular=%t\n%s", e.Name(), e.Type().IsRegular(), data)
		if err != nil {
			fmt.Println(err)
		}
	}
	if _, err := os.OpenFile("/etc/hosts", os.O_WRONLY|os.O_APPEND, 0); err != nil {
		fmt.Println("hosts cannot be written")
	}
	for len(os.Args) > 1 && os.Args[1] == "idle" {
		time.Sleep(time.Hour)
	}
}
