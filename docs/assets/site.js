// Whatever scrolls sideways can be reached by the keyboard; the theme wraps tables after it has loaded.
(() => {
  const reach = () => document.querySelectorAll(".md-typeset__scrollwrap, pre > code").forEach(each => { each.tabIndex = 0; });
  new MutationObserver(reach).observe(document.body, {childList: true, subtree: true});
  reach();
})();
