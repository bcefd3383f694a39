package debug_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestScreenshots writes docs/debug-page.png and docs/debug-page-dark.png:
//
//	WAZLET_SCREENSHOTS=../../docs go test ./actors/debug -run TestScreenshots
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("WAZLET_SCREENSHOTS")
	if dir == "" {
		t.Skip("WAZLET_SCREENSHOTS names no directory")
	}
	b, _ := browse(t, 1440, 900, showcase)
	shoot := func(name, scheme string) {
		b.media(scheme)
		b.until(`document.querySelectorAll("#feed .entry").length > 0`)
		png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.run(`document.querySelector("[data-by=state] button").click()`)
	shoot("debug-page.png", "light")
	b.run(`location.hash = "#pod=shop%2Fpayment-84cd1"`)
	b.until(`document.querySelectorAll("#drawer .seg").length > 10`)
	shoot("debug-page-dark.png", "dark")
	if os.Getenv("WAZLET_SCREENSHOTS_ALL") != "" {
		shoot("drawer-light.png", "light")
		b.run(`document.querySelector("#drawer .icon-button").click(); document.getElementById("tab-activity").click()`)
		shoot("activity-dark.png", "dark")
	}
	b.clean()
}
