package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apioptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kcmoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

const (
	controllerManagerKubeconfig = "kube-controller-manager.kubeconfig"
	schedulerKubeconfig         = "kube-scheduler.kubeconfig"
	egressConfig                = "egress.yaml"
)

// components are the options of the three programs. Their cobra commands cannot be used: each would set up signals, logs
// and feature gates for itself, which a process may do once.
type components struct {
	apiServer         *apioptions.ServerRunOptions
	controllerManager *kcmoptions.KubeControllerManagerOptions
	scheduler         *scheduleroptions.Options
}

// components parses all flags first, because all programs share one set of feature gates, and then applies it and the
// logging once.
func (p *plane) components() (*components, error) {
	kcmo, err := kcmoptions.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, err
	}
	c := &components{apiServer: apioptions.NewServerRunOptions(), controllerManager: kcmo, scheduler: scheduleroptions.NewOptions()}
	c.apiServer.SecureServing.Listener = p.listener
	sets := kcmo.Flags(kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
	kcmo.ParsedFlags = &sets
	args, err := p.apiServerArgs()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(
		parse("kube-apiserver", c.apiServer.Flags(), args),
		parse("kube-controller-manager", sets, p.controllerManagerArgs()),
		parse("kube-scheduler", *c.scheduler.Flags, p.schedulerArgs()),
		compatibility.DefaultComponentGlobalsRegistry.Set(),
	); err != nil {
		return nil, err
	}
	return c, logsapi.ValidateAndApply(logsapi.NewLoggingConfiguration(), utilfeature.DefaultFeatureGate)
}

func parse(name string, sets flag.NamedFlagSets, args []string) error {
	all := pflag.NewFlagSet(name, pflag.ContinueOnError)
	for _, f := range sets.FlagSets {
		all.AddFlagSet(f)
	}
	if err := all.Parse(args); err != nil {
		return fmt.Errorf("flags of %s: %w", name, err)
	}
	return nil
}

func (p *plane) apiServerArgs() ([]string, error) {
	args := []string{
		"--etcd-servers=unix://" + p.socket(etcdSocket),
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", // Endpoints may not contain loopback addresses
		"--tls-cert-file=" + p.path("pki", "apiserver.crt"), "--tls-private-key-file=" + p.path("pki", "apiserver.key"),
		"--client-ca-file=" + p.path("pki", "ca.crt"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--enable-bootstrap-token-auth=true",
		"--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + p.path("pki", "sa.key"), "--service-account-signing-key-file=" + p.path("pki", "sa.key"),
		"--service-cluster-ip-range=" + ServiceCIDR,
		"--kubelet-client-certificate=" + p.path("pki", "kubelet-client.crt"),
		"--kubelet-client-key=" + p.path("pki", "kubelet-client.key"),
		"--kubelet-certificate-authority=" + p.path("pki", "ca.crt"), "--kubelet-preferred-address-types=InternalIP,Hostname",
		"--requestheader-client-ca-file=" + p.path("pki", "front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + p.path("pki", "front-proxy.crt"),
		"--proxy-client-key-file=" + p.path("pki", "front-proxy.key"),
		"--enable-aggregator-routing=true", // there are no cluster IPs: nobody runs kube-proxy
	}
	if p.direct {
		return args, nil
	}
	config := "apiVersion: apiserver.k8s.io/v1beta1\nkind: EgressSelectorConfiguration\negressSelections:\n- name: cluster\n" +
		"  connection:\n    proxyProtocol: HTTPConnect\n    transport: {uds: {udsName: " + strconv.Quote(p.socket(egressSocket)) + "}}\n"
	args = append(args, "--egress-selector-config-file="+p.path(egressConfig))
	return args, os.WriteFile(p.path(egressConfig), []byte(config), 0o600)
}

// Limits of requests a second of controllers. The defaults, 20 and 50, would be what a measurement of nodes measures.
const apiQPS, apiBurst = "--kube-api-qps=500", "--kube-api-burst=1000"

func (p *plane) controllerManagerArgs() []string {
	kubeconfig := p.path(controllerManagerKubeconfig)
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--secure-port=0", "--use-service-account-credentials",
		"--controllers=*,bootstrap-signer-controller,token-cleaner-controller",
		"--root-ca-file=" + p.path("pki", "ca.crt"), "--service-account-private-key-file=" + p.path("pki", "sa.key"),
		"--cluster-signing-cert-file=" + p.path("pki", "ca.crt"), "--cluster-signing-key-file=" + p.path("pki", "ca.key"),
		"--cluster-signing-duration=" + p.signing.String(),
		"--allocate-node-cidrs", "--cluster-cidr=" + PodCIDR, "--node-cidr-mask-size=20", "--service-cluster-ip-range=" + ServiceCIDR,
		"--flex-volume-plugin-dir=" + p.path("flex"), // else it makes a directory in /usr
		"--controller-shutdown-timeout=" + (clientsEnd - time.Second).String(),
		apiQPS, apiBurst,
	}
}

func (p *plane) schedulerArgs() []string {
	kubeconfig := p.path(schedulerKubeconfig)
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--secure-port=0", apiQPS, apiBurst,
	}
}

func (c *components) runAPIServer(ctx context.Context) error {
	completed, err := c.apiServer.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return errors.Join(errs...)
	}
	return apiserver.Run(ctx, completed)
}

func (c *components) runControllerManager(ctx context.Context) error {
	config, err := c.controllerManager.Config(ctx, kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
	if err != nil {
		return err
	}
	return kcm.Run(ctx, config.Complete())
}

func (c *components) runScheduler(ctx context.Context) error {
	config, s, err := scheduler.Setup(ctx, c.scheduler)
	if err != nil {
		return err
	}
	return scheduler.Run(ctx, config, s)
}
