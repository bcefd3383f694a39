package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
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

// bootstrap creates what kubeadm would: who may join, and with which rights.
func bootstrap(ctx context.Context, c kubernetes.Interface) error {
	for name, b := range map[string]struct{ role, group string }{
		"kubeadm:cluster-admins":                        {"cluster-admin", "kubeadm:cluster-admins"},
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
	return poll(ctx, func(ctx context.Context) error { // its namespace is made by the API server itself
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
	})
}

// approve approves the requests of nodes for serving certificates, which nobody does in a cluster of its own accord. A
// node may ask for itself only.
func approve(ctx context.Context, c kubernetes.Interface) error {
	requests := c.CertificatesV1().CertificateSigningRequests()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		list, err := requests.List(ctx, metav1.ListOptions{FieldSelector: "spec.signerName=" + certificatesv1.KubeletServingSignerName, ResourceVersion: "0"})
		if err != nil {
			continue // it is asked again at once
		}
		for i := range list.Items {
			r := &list.Items[i]
			if len(r.Status.Conditions) > 0 || !slices.Contains(r.Spec.Groups, "system:nodes") {
				continue
			}
			r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{
				Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "DevCluster", Message: "a node asked for itself",
			}}
			_, _ = requests.UpdateApproval(ctx, r.Name, r, metav1.UpdateOptions{})
		}
	}
}

// awaitUsable waits for what a fresh cluster gets a few seconds late and every Pod needs.
func awaitUsable(ctx context.Context, c kubernetes.Interface) error {
	return poll(ctx, func(ctx context.Context) error {
		if _, err := c.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{}); err != nil {
			return err
		}
		_, err := c.CoreV1().ConfigMaps(metav1.NamespaceDefault).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		return err
	})
}

// stop is an error that polling cannot mend.
type stop struct{ error }

// poll calls f until it succeeds.
func poll(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		var final stop
		if errors.As(err, &final) {
			return final.error
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func urls(raw string) []url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err) // it is made above
	}
	return []url.URL{*u}
}
