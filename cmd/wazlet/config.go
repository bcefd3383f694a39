package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the configuration that a node would run with",
		Long: `Print the configuration that a node would run with: defaults, overridden by the file, overridden by flags.

A configuration with problems is not printed; each problem is reported with its line and field.`,
		Example: `  wazlet config --default > /etc/wazlet/config.yaml
  wazlet config --config /etc/wazlet/config.yaml --log-level debug`,
		Args: cobra.NoArgs,
	}
	flags := config.BindFlags(cmd.Flags())
	onlyDefault := cmd.Flags().Bool("default", false, "print the defaults, whatever file and flags say")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := config.Default()
		if !*onlyDefault {
			var err error
			if c, err = flags.Resolve(); err != nil {
				return err
			}
		}
		out, err := yaml.Marshal(c)
		if err != nil {
			return fmt.Errorf("print configuration: %w", err)
		}
		_, err = cmd.OutOrStdout().Write(out)
		return err
	}
	return cmd
}
