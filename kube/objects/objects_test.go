package objects

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/yaml"
)

const deadline = 20 * time.Second

type change struct{ Kind, Namespace, Name string }

// node is Objects that run, on an API server of the test.
type node struct {
	*Objects
	t       *testing.T
	client  *fake.Clientset
	clock   *clocktesting.FakeClock
	changes chan change
}

func start(t *testing.T, existing ...runtime.Object) *node {
	t.Helper()
	n := prepareNode(t, Options{}, existing...)
	n.run()
	return n
}

func prepareNode(t *testing.T, o Options, existing ...runtime.Object) *node {
	t.Helper()
	n := &node{
		t: t, client: fake.NewClientset(existing...), changes: make(chan change, 100),
		clock: clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
	}
	o.Client, o.Clock = n.client, n.clock
	o.OnChange = func(kind, namespace, name string) { n.changes <- change{kind, namespace, name} }
	o.Jitter = func(time.Duration) time.Duration { return time.Second }
	if o.Wait == 0 {
		o.Wait = deadline
	}
	var err error
	if n.Objects, err = New(o); err != nil {
		t.Fatal(err)
	}
	return n
}

// run runs until the test ends.
func (n *node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	n.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Errorf("Run: %v", err)
		}
	})
}

func (n *node) changed(want change) {
	n.t.Helper()
	select {
	case got := <-n.changes:
		if got != want {
			n.t.Errorf("change of %v, want %v", got, want)
		}
	case <-time.After(deadline):
		n.t.Fatalf("no change of %v", want)
	}
}

func (n *node) quiet() {
	n.t.Helper()
	select {
	case got := <-n.changes:
		n.t.Errorf("change of %v, want none", got)
	default:
	}
}

func configMap(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID("uid of " + value), ResourceVersion: value},
		Data:       map[string]string{"k": value},
	}
}

func podOf(t *testing.T, uid, spec string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	p.Name, p.Namespace, p.UID = "pod-"+uid, "ns", types.UID(uid)
	return p
}

const mountsCM = `volumes: [{name: v, configMap: {name: cm}}]`

func TestReferences(t *testing.T) {
	var got []string
	for k := range references(podOf(t, "1", `
imagePullSecrets: [{name: pull}, {name: ""}]
volumes:
- {name: a, configMap: {name: volume}}
- {name: b, secret: {secretName: volume}}
- {name: c, projected: {sources: [{configMap: {name: projected}}, {secret: {name: projected}}, {downwardAPI: {}}]}}
- {name: d, emptyDir: {}}
initContainers: [{name: i, envFrom: [{configMapRef: {name: init}}, {secretRef: {name: init}}]}]
containers:
- name: c
  env:
  - {name: A, value: x}
  - {name: B, valueFrom: {configMapKeyRef: {name: env, key: k}}}
  - {name: C, valueFrom: {secretKeyRef: {name: env, key: k}}}
`)) {
		got = append(got, k.kind+" "+k.namespace+"/"+k.name)
	}
	slices.Sort(got)
	want := []string{
		"ConfigMap ns/env", "ConfigMap ns/init", "ConfigMap ns/projected", "ConfigMap ns/volume",
		"Secret ns/env", "Secret ns/init", "Secret ns/projected", "Secret ns/pull", "Secret ns/volume",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("references (-want +got):\n%s", d)
	}
}

func TestFollowsAnObject(t *testing.T) {
	n := start(t)
	n.Register(podOf(t, "1", mountsCM))
	_, err := n.ConfigMap(t.Context(), "ns", "cm")
	if !apierrors.IsNotFound(err) || err.Error() != `configmap "cm" not found` {
		t.Errorf("error %v", err)
	}
	api := n.client.CoreV1().ConfigMaps("ns")
	if _, err := api.Create(t.Context(), configMap("cm", "one"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cm := change{KindConfigMap, "ns", "cm"}
	n.changed(cm)
	n.shows("one")
	if _, err := api.Update(t.Context(), configMap("cm", "two"), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.changed(cm)
	n.shows("two")
	if err := api.Delete(t.Context(), "cm", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	n.changed(cm)
	if _, err := n.ConfigMap(t.Context(), "ns", "cm"); !apierrors.IsNotFound(err) {
		t.Errorf("error %v", err)
	}
	n.quiet()
}

func (n *node) shows(want string) {
	n.t.Helper()
	cm, err := n.ConfigMap(n.t.Context(), "ns", "cm")
	if err != nil || cm.Data["k"] != want {
		n.t.Errorf("%v, %v; want %q", cm, err, want)
	}
}

// Nothing but the one object is ever asked for: the Node authorizer would refuse.
func TestAsksByNameOnly(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}, Data: map[string][]byte{"k": []byte("v")}}
	other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "other"}}
	n := start(t, secret, other, configMap("cm", "x"), configMap("other", "y"))
	n.Register(podOf(t, "1", "imagePullSecrets: [{name: s}]\n"+mountsCM))
	got, err := n.Secret(t.Context(), "ns", "s")
	if err != nil || string(got.Data["k"]) != "v" {
		t.Errorf("%v, %v", got, err)
	}
	n.shows("x")
	for _, a := range n.client.Actions() {
		fields := ""
		switch a := a.(type) {
		case ktesting.ListAction:
			fields = a.GetListRestrictions().Fields.String()
		case ktesting.WatchAction:
			fields = a.GetWatchRestrictions().Fields.String()
		}
		want := map[string]string{"secrets": "metadata.name=s", "configmaps": "metadata.name=cm", "services": ""}[a.GetResource().Resource]
		if fields != want {
			t.Errorf("%s %s with %q, want %q", a.GetVerb(), a.GetResource().Resource, fields, want)
		}
	}
}

func TestCountsReferences(t *testing.T) {
	n := prepareNode(t, Options{}, configMap("cm", "x"))
	n.Register(podOf(t, "1", mountsCM)) // before Run
	n.run()
	n.Register(podOf(t, "2", mountsCM+"\nimagePullSecrets: [{name: s}]"))
	n.shows("x")
	for _, c := range []struct {
		do   func()
		want int
	}{
		{func() {}, 2},
		{func() { n.Register(podOf(t, "1", mountsCM)) }, 2},
		{func() { n.Register(podOf(t, "2", mountsCM)) }, 1},
		{func() { n.Unregister("1") }, 1},
		{func() { n.Unregister("1") }, 1},
		{func() { n.Unregister("unknown") }, 1},
		{func() { n.Unregister("2") }, 0},
		{func() { n.Register(podOf(t, "3", mountsCM)) }, 1},
	} {
		c.do()
		if got := n.Watched(); got != c.want {
			t.Errorf("%d objects are followed, want %d", got, c.want)
		}
	}
	n.shows("x")
	lists := 0
	for _, a := range n.client.Actions() {
		if a.Matches("list", "configmaps") {
			lists++
		}
	}
	if lists != 2 {
		t.Errorf("%d lists of the ConfigMap, want one for each time it was followed", lists)
	}
}

// An object of a Pod that is not registered is read each time.
func TestReadsUnregistered(t *testing.T) {
	n := prepareNode(t, Options{}, configMap("cm", "x")) // does not even run
	n.shows("x")
	_, err := n.Secret(t.Context(), "ns", "none")
	if !apierrors.IsNotFound(err) || err.Error() != `secret "none" not found` {
		t.Errorf("error %v", err)
	}
	if n.Watched() != 0 {
		t.Errorf("%d objects are followed", n.Watched())
	}
}

// The authorizer may learn of a Pod later than its node: that is not the absence of the object. When it can be read at
// last, whoever could not is told.
func TestForbiddenAtFirst(t *testing.T) {
	n := prepareNode(t, Options{Wait: 50 * time.Millisecond}, configMap("cm", "x"))
	var allowed atomic.Bool
	refused := make(chan struct{}, 100)
	n.client.PrependReactor("list", "configmaps", func(ktesting.Action) (bool, runtime.Object, error) {
		if allowed.Load() {
			return false, nil, nil
		}
		refused <- struct{}{}
		return true, nil, apierrors.NewForbidden(corev1.Resource("configmaps"), "cm", errors.New("no relationship found between node and this object"))
	})
	n.run()
	n.Register(podOf(t, "1", mountsCM))
	<-refused
	<-refused
	_, err := n.ConfigMap(t.Context(), "ns", "cm")
	if err == nil || apierrors.IsNotFound(err) || !strings.HasPrefix(err.Error(), "failed to sync configmap cache: ") ||
		!strings.Contains(err.Error(), "no relationship found") {
		t.Errorf("error %v", err)
	}
	allowed.Store(true)
	n.changed(change{KindConfigMap, "ns", "cm"})
	n.shows("x")
}

// The first sight of an object that nobody waited for in vain is no change.
func TestFirstSightIsNoChange(t *testing.T) {
	n := start(t, configMap("cm", "x"))
	n.Register(podOf(t, "1", mountsCM))
	n.shows("x")
	n.quiet()
}

func TestServices(t *testing.T) {
	svc := func(namespace, name string) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{"large": "x"}},
			Spec:       corev1.ServiceSpec{ClusterIP: "10.0.0.1", Ports: []corev1.ServicePort{{Port: 80}}},
		}
	}
	n := prepareNode(t, Options{}, svc("ns", "a"), svc("ns", "b"), svc("default", "kubernetes"))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := n.Services(over, "ns"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	n.run()
	for namespace, want := range map[string][]string{"ns": {"a", "b"}, "default": {"kubernetes"}, "empty": nil} {
		got, err := n.Services(t.Context(), namespace)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range got {
			names = append(names, s.Name)
			if s.Spec.ClusterIP == "" || len(s.Spec.Ports) != 1 || s.Annotations != nil {
				t.Errorf("kept of %s: %v", s.Name, s)
			}
		}
		slices.Sort(names)
		if d := cmp.Diff(want, names); d != "" {
			t.Errorf("services of %s (-want +got):\n%s", namespace, d)
		}
	}
	if got, err := n.Services(over, "ns"); err != nil || len(got) != 2 {
		t.Errorf("once they are known nobody waits: %v, %v", got, err)
	}
}

// issuer is the API server's TokenRequest.
type issuer struct {
	n        *node
	requests []*authenticationv1.TokenRequest
	accounts []string
	grant    int64
	err      error
}

func issue(n *node) *issuer {
	i := &issuer{n: n}
	n.client.PrependReactor("create", "serviceaccounts", func(a ktesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "token" {
			return false, nil, nil
		}
		r := a.(ktesting.CreateAction).GetObject().(*authenticationv1.TokenRequest).DeepCopy()
		i.requests = append(i.requests, r.DeepCopy())
		i.accounts = append(i.accounts, a.GetNamespace()+"/"+a.(ktesting.CreateActionImpl).Name)
		if i.err != nil {
			return true, nil, i.err
		}
		if i.grant != 0 {
			r.Spec.ExpirationSeconds = &i.grant
		}
		r.Status.Token = "token " + string(rune('0'+len(i.requests)))
		r.Status.ExpirationTimestamp = metav1.NewTime(n.clock.Now().Add(time.Duration(*r.Spec.ExpirationSeconds) * time.Second))
		return true, r, nil
	})
	return i
}

func (i *issuer) wants(text string, refreshIn time.Duration, p corev1.ServiceAccountTokenProjection) {
	i.n.t.Helper()
	got, refreshAt, err := i.n.Token(i.n.t.Context(), podOf(i.n.t, "1", "serviceAccountName: sa"), p)
	if err != nil || got != text || refreshAt.Sub(i.n.clock.Now()) != refreshIn {
		i.n.t.Errorf("%q until %s, %v; want %q until %s", got, refreshAt.Sub(i.n.clock.Now()), err, text, refreshIn)
	}
}

func TestTokens(t *testing.T) {
	n := prepareNode(t, Options{})
	i := issue(n)
	hour, day := int64(3600), int64(100*3600)
	p := corev1.ServiceAccountTokenProjection{ExpirationSeconds: &hour, Audience: "vault", Path: "token"}
	i.wants("token 1", 48*time.Minute-time.Second, p) // 80 % less the jitter
	n.advance(40 * time.Minute)
	i.wants("token 1", 8*time.Minute-time.Second, p)
	n.advance(8*time.Minute - time.Second)
	i.wants("token 2", 48*time.Minute-time.Second, p)
	i.wants("token 3", 24*time.Hour-time.Second, corev1.ServiceAccountTokenProjection{ExpirationSeconds: &day})
	i.grant = 600
	i.wants("token 4", 8*time.Minute-time.Second, corev1.ServiceAccountTokenProjection{})

	// The API server is away: the old one serves until it expires.
	i.err = errors.New("connection refused")
	n.advance(50 * time.Minute)
	i.wants("token 2", 30*time.Second, p)
	n.advance(10 * time.Minute)
	_, _, err := n.Token(t.Context(), podOf(t, "1", "serviceAccountName: sa"), p)
	if err == nil || err.Error() != "token of serviceaccount ns/sa expired and refresh failed: connection refused" {
		t.Errorf("error %v", err)
	}
	_, _, err = n.Token(t.Context(), podOf(t, "2", "{}"), p)
	if err == nil || err.Error() != "failed to fetch token: connection refused" {
		t.Errorf("error %v", err)
	}
	if got := i.accounts[len(i.accounts)-1]; got != "ns/default" {
		t.Errorf("asked for %s, want the default account", got)
	}
	want := authenticationv1.TokenRequestSpec{
		Audiences: []string{"vault"}, ExpirationSeconds: &hour,
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: "pod-1", UID: "1"},
	}
	if d := cmp.Diff(want, i.requests[0].Spec); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
	if got := i.requests[3].Spec; got.Audiences != nil || *got.ExpirationSeconds != 3600 {
		t.Errorf("request without wishes: %+v", got)
	}
}

func (n *node) advance(d time.Duration) { n.clock.SetTime(n.clock.Now().Add(d)) }

func TestUnregisterForgetsTokens(t *testing.T) {
	n := prepareNode(t, Options{})
	i := issue(n)
	i.wants("token 1", 48*time.Minute-time.Second, corev1.ServiceAccountTokenProjection{})
	n.Unregister("2")
	i.wants("token 1", 48*time.Minute-time.Second, corev1.ServiceAccountTokenProjection{})
	n.Unregister("1")
	i.wants("token 2", 48*time.Minute-time.Second, corev1.ServiceAccountTokenProjection{})
	n.advance(2 * time.Hour)
	i.wants("token 3", 48*time.Minute-time.Second, corev1.ServiceAccountTokenProjection{Audience: "x"})
	if len(n.tokens.cached) != 1 {
		t.Errorf("%d tokens are kept, want those that are good", len(n.tokens.cached))
	}
}

func TestNewRefuses(t *testing.T) {
	for want, o := range map[string]Options{
		"Options.Client: missing":                {},
		"Options.Wait: want 0 or more (got -1s)": {Client: fake.NewClientset(), Wait: -time.Second},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// A Pod that comes anew may be what allows to read an object: its watch does not wait for the end of its back-off.
func TestRegisterTriesAgain(t *testing.T) {
	n := prepareNode(t, Options{})
	var did []string
	n.start = func(e *entry) {
		did = append(did, "start")
		e.stop = func() { did = append(did, "stop") }
	}
	n.Register(podOf(t, "1", mountsCM))
	n.Register(podOf(t, "2", mountsCM))
	e := n.entries[key{KindConfigMap, "ns", "cm"}]
	e.note(errors.New("forbidden"))
	n.Register(podOf(t, "2", mountsCM)) // it is known already
	n.Register(podOf(t, "3", mountsCM))
	e.note(nil)
	n.Register(podOf(t, "4", mountsCM))
	if d := cmp.Diff([]string{"start", "stop", "start"}, did); d != "" {
		t.Errorf("watches (-want +got):\n%s", d)
	}
}
