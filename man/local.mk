dist_man_MANS += %D%/evfs.1 %D%/evfsctl.1
