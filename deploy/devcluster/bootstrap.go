package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// The bootstrap token. It opens a development cluster on loopback and nothing else.
const (
	bootstrapID     = "wazlet"
	bootstrapSecret = "0123456789abcdef"
)

// clusterAdmins is the group of the API server as a client of nodes.
const clusterAdmins = "kubeadm:cluster-admins"

// bootstrap creates what kubeadm would, who may join and with which rights, and waits for what a fresh cluster gets a few
// seconds late and every Pod needs.
func bootstrap(ctx context.Context, c kubernetes.Interface, ended <-chan error) error {
	for name, b := range map[string]struct{ role, group string }{
		clusterAdmins:                                   {"cluster-admin", clusterAdmins},
		"devcluster:node-bootstrapper":                  {"system:node-bootstrapper", "system:bootstrappers"},
		"devcluster:node-autoapprove-bootstrap":         {"system:certificates.k8s.io:certificatesigningrequests:nodeclient", "system:bootstrappers"},
		"devcluster:node-autoapprove-certificate-renew": {"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes"},
	} {
		_, err := c.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: b.role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: b.group}},
		}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("bind %s: %w", b.role, err)
		}
	}
	// The namespace of the token is made by the API server itself, in its own time.
	if err := poll(ctx, ended, func(ctx context.Context) error { return createToken(ctx, c) }); err != nil {
		return fmt.Errorf("create the bootstrap token: %w", err)
	}
	if err := poll(ctx, ended, func(ctx context.Context) error { return usable(ctx, c) }); err != nil {
		return fmt.Errorf("wait for the default service account: %w", err)
	}
	return nil
}

func createToken(ctx context.Context, c kubernetes.Interface) error {
	_, err := c.CoreV1().Secrets(metav1.NamespaceSystem).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-" + bootstrapID},
		Type:       corev1.SecretTypeBootstrapToken,
		StringData: map[string]string{
			"token-id": bootstrapID, "token-secret": bootstrapSecret,
			"usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
		},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func usable(ctx context.Context, c kubernetes.Interface) error {
	if _, err := c.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{}); err != nil {
		return err
	}
	_, err := c.CoreV1().ConfigMaps(metav1.NamespaceDefault).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
	return err
}

// poll calls f until it succeeds, or a part of the control plane has ended.
func poll(ctx context.Context, ended <-chan error, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-ended:
			return err
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}
